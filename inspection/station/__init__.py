"""The controller: sockets around ledger, store and evidence."""
