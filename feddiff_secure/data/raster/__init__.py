"""Scenes put together from georeferenced layers: GeoTIFF, ENVI, arrays of HDF5 and MATLAB files."""
