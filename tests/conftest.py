import device
from hypothesis import settings

settings.register_profile("laws", derandomize=True, database=None, deadline=None, max_examples=15)
settings.load_profile("laws")


def pytest_addoption(parser):
    parser.addoption("--device", default="fake", help="where laws hold too: on fake, or on cuda")


def pytest_configure(config):
    device.name = config.getoption("--device")
