"""Tables, figures and HTML pages. Each page (a study's front page, `hneurons detect --html`) is one self-contained file."""
