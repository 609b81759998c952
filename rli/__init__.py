"""The replica location index: which sites may hold a name, from soft state alone."""
