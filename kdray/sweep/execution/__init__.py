"""Trials on Ray: clusters, actors, resources. The only home of ray."""
