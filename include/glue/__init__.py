"""What joins Airflow and the engine, and the only package that knows both: the DAG files wire what stands here."""
