"""analysis results -> plotly figures. Numbers are computed in hpsearch.analysis and only drawn here."""
