"""A training as a chain of batch jobs: submission, continuation, retries, liveness. No Parsl."""
