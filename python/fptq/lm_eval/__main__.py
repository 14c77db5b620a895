"""The harness's command, which knows the model `fptq`."""

from lm_eval.__main__ import cli_evaluate

import fptq.lm_eval  # noqa: F401, registers the model

cli_evaluate()
