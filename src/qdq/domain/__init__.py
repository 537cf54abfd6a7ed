"""What the workbench is about: ids, models, datasets, devices, jobs, and the rules between."""
