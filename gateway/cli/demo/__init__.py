"""``gateway demo``: one application in four process models, on a live page."""
