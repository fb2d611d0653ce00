"""The durable core: jobs, stages, tasks and deployments. Knows no AWS shape."""
