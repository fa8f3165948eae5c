"""A Neo4j server of the tests' own: installed by its recipe, started on a free port, stopped by its process id."""
