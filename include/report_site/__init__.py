"""The migration report as pages of Airflow's API server: all runs, the report of each, and the rows it speaks of.

``app`` has the routes, ``access`` who may see them; ``reading`` reads the targets, ``runs`` the list of all runs;
``pages`` makes the pages and their addresses. What they show is the engine's report.
"""
