//! What the connector would do with given requests: nothing is issued, revoked or uploaded.
