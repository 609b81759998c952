"""Who asks, and what they may: identities, rules, tokens, certificates, bounds on what arrives, and the audit log."""
