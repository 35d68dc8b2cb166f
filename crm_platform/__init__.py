"""Turns a CRM into trustworthy machine-learning data; each folder is one room, named for what it holds."""
