"""Everything that tests make up: its truth is known.

``shapes``        clouds, meshes and rings of cameras
``media``         videos and photos of a random texture, and folders of inputs
``scenes``        ray-cast planes and spheres with exact depth and normals
``box``           a coloured box, and photos of it
``made_project``  a project as a run leaves it
"""
