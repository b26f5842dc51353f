from hypothesis import settings

settings.register_profile("laws", derandomize=True, database=None, deadline=None, max_examples=15)
settings.load_profile("laws")
