"""Settings that ship with reploc: one commented file per service, equal to the defaults."""
