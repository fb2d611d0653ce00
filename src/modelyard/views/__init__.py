"""Pages of parts that not every server's user needs: each module answers for one noun."""
