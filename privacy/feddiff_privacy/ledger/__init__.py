"""The privacy ledger: what an owner's holding of data has spent, on the owner's own disk."""
