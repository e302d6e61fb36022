"""What stands behind `vwo_async.sync`: a loop in a thread of its own, and how calls reach it."""
