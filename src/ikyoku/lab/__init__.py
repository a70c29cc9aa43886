"""The pocket lab: facts, exams and small models that the project makes by itself."""
