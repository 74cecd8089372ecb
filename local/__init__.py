"""What ./run and ./test start on this machine: a virtual environment, an embedded PostgreSQL, Airflow."""
