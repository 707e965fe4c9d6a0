"""What a message means, by the state of its edge node: in order, early, late, before a birth.

From the ground up: `Resolution` (which tag a metric is of), `AwaitingBirths` (what is held),
`Lifecycle` and `Declaration` (births and deaths), `SessionReader` (one message in its session),
`Windows` (what came out of order), `Ordering` (one message as it comes), `BatchReader` (a whole
batch), `Restoration` (a start).
"""
