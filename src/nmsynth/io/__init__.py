"""Reading and writing of DICOM and NIfTI; the only place that knows file formats."""
