"""What is in a data set, before anything is trained on it.

``statistics.py`` counts and averages pixels, ``originals.py`` looks at the files as they are, ``plane.py`` draws the
map, ``suspicion.py`` picks what a person should look at, ``survey.py`` puts it all together.
"""
