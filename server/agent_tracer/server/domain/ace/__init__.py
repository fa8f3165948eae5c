"""The methods behind AceService: scores, benchmarks and version comparisons, over sums of tasks."""
