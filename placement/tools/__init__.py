"""What people say to placement: one module of commands for each subject, and what they share."""
