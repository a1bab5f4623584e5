from rekur.tune._deepen import deepen
from rekur.tune._widen import growing_layers, widen
