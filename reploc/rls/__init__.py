"""The protocol of the Globus RLS: what its bytes mean, and connections that speak it, for catalogs and index nodes."""
