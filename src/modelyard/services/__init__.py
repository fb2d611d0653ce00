"""One module or package for each AWS service, split by AWS resource."""
