"""The Dagster shell: assets, checks, sensors and schedules that ask the rooms below and report what they answered.

Nothing here decides what data means; no other room but `definitions.py` imports Dagster.
"""
