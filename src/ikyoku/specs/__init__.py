"""What is asked of a job: the specs. The same object is the YAML file, the Python argument and the record of a run.

Unknown keys are refused with the nearest valid one; values are not guessed ("fast" is not a learning rate, `no` stays a
text). Relative paths in a spec are taken from the folder the command runs in. `specfile` reads and writes them.
"""

from ikyoku.specs.base import Spec
from ikyoku.specs.demo import DemoSpec
from ikyoku.specs.evaluate import EvaluateSpec
from ikyoku.specs.evolve import CandidateParentSpec, EvolveSpec, FitnessSpec, RivalSpec, SearchSpec, SpaceSpec
from ikyoku.specs.exams import ColumnsSpec, ExamSpec, ItemListName, LayoutName
from ikyoku.specs.formats import FormatName, TemplateSpec
from ikyoku.specs.merge import MergeSpec
from ikyoku.specs.models import EndpointSpec, ModelSpec
from ikyoku.specs.radiographs import RadiographsSpec
from ikyoku.specs.recipe import RecipeSpec
from ikyoku.specs.report import ReportSpec
from ikyoku.specs.translate import TranslateSpec
from ikyoku.specs.tune import LoraSpec, TuneSpec

__all__ = [
    "CandidateParentSpec",
    "ColumnsSpec",
    "DemoSpec",
    "EndpointSpec",
    "EvaluateSpec",
    "EvolveSpec",
    "ExamSpec",
    "FitnessSpec",
    "FormatName",
    "ItemListName",
    "LayoutName",
    "LoraSpec",
    "MergeSpec",
    "ModelSpec",
    "RadiographsSpec",
    "RecipeSpec",
    "ReportSpec",
    "RivalSpec",
    "SearchSpec",
    "SpaceSpec",
    "Spec",
    "TemplateSpec",
    "TranslateSpec",
    "TuneSpec",
]
