"""The `reploc` command's own sub-commands, and what the commands of all services share."""
