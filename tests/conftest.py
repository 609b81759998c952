"""Makes what the tests share importable from every folder of tests: its own folder is put on the path."""
