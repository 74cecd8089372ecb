#!/bin/sh
# Lets both you and the containers write ./data and ./include/plans: the folders go to the containers' user and stay
# with your group, which what is made there inherits. Nothing is opened to others, and files that are there stay as they are.
set -eu
for folder in /data /plans; do
    chown "$AIRFLOW_UID" $folder
    chmod u+rwx,g+rwxs $folder
done
if [ -d /redis ]; then chown 999:999 /redis; fi  # the user that Redis runs as
