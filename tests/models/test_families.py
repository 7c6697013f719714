"""The built-in model families keep the contract that plug-ins must keep."""

import pytest

import hpoviz
from hpoviz.models.cnn import CnnConfig
from hpoviz.models.lstm import LstmConfig
from hpoviz.testing.architecture_contract import ArchitectureContract

pytestmark = pytest.mark.slow


class TestCnn(ArchitectureContract):
    family = CnnConfig

    def make_data(self):
        return hpoviz.load_dataset("digits")


class TestLstm(ArchitectureContract):
    family = LstmConfig

    def make_data(self):
        return hpoviz.load_dataset("docstrings")
