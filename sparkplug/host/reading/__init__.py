"""What a message means, by the state of its edge node: in order, early, late, before a birth.

From the ground up: `Resolution` (which tag a metric is of), `AwaitingBirths` (what is held),
`Lifecycle` (births and deaths), `Ordering` (one message as it comes) with its own two parts
`SessionReader` (one message in its session) and `Windows` (what came out of order),
`BatchReader` (a whole batch), `Restoration` (a start).
"""
