"""The clip daemon: takes triggers, reads the ring, keeps clips and the ledger."""
