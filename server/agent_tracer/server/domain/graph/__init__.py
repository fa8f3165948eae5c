"""Components and the calls between them over time: records, histograms that merge, roads through the graph. Pure."""
