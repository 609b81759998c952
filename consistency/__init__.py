"""The consistency checker: what a site's catalog says and what its storage holds, compared and mended."""
