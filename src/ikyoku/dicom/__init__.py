"""DICOM: read, de-identify, write (phantoms, tests). What is not readable, or no chest radiograph, is refused.

What leaves this package is pixels and a header that identifies nobody; no message holds a value of the file that could.
"""

from ikyoku.dicom.header import Header
from ikyoku.dicom.reading import Radiogram, read_radiogram

__all__ = ["Header", "Radiogram", "read_radiogram"]
