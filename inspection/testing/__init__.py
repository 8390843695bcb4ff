"""What tests and demonstrations need and is shipped: fakes, strategies, a simulated PLC."""
