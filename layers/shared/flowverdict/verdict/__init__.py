"""Why a flow was rejected, how sure that is, and what to change."""
