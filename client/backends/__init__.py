"""Who answers: a served ensemble, served models one by one, or engines in this process."""
