"""Moves the rows of one table: cast in blocks, sent by COPY, counted to the last row."""
