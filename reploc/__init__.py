"""What every service and client of reploc agrees on; it imports no service."""

__version__ = "0.1.0"
