"""A catalog for clients of the Globus RLS, and towards index servers of theirs that it sends updates to."""
