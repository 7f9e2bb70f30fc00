"""Roboto Regular 2.138, the type of grids (2011 Google Inc., Apache-2.0, see LICENSE-Roboto.txt).

Changed in one way: cut down to Latin, Greek, Cyrillic and signs, which draw as they did. Made from
the file of the package font-roboto 0.0.1 by fonttools:

    pyftsubset Roboto-Regular.ttf --layout-features='*' --hinting --glyph-names --notdef-outline
        --name-IDs='*' --unicodes='U+0020-024F,U+02B0-02FF,U+0300-036F,U+0370-03FF,U+0400-052F,
        U+2000-206F,U+2070-209F,U+20A0-20CF,U+2100-218F,U+2190-22FF,U+25A0-25FF,U+FFFC,U+FFFD'
"""
