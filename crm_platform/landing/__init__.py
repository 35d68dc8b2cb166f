"""Raw payload and provenance to landed rows: typing, quarantine, offset ranges, gaps, snapshots.

What is landed is never changed. Reading a CRM is `sources`' business, versions are `history`'s.
"""
